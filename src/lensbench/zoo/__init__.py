"""Classifiers of torchvision, timm, transformers and our own, under one name each.

Only `lensbench.zoo.names` works without torch; the rest is imported when it is asked for.
"""
