"""Classifiers of torchvision, timm and transformers, under one name each.

Only `lensbench.zoo.names` works without torch; the rest is imported when it is asked for.
"""
