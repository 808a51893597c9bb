"""Networks whose logits do not change when an image is turned or flipped.

A group-equivariant network (Cohen & Welling 2016, arXiv:1602.07576) holds several fields, each of
which has one channel for every element g of a finite group of turns and flips. Channel g tells how
much a pattern is there in the pose g, so turning the image turns the channels and permutes them.
Filters are shared by all poses: what one of them learns, all of them know.
"""
