"""Filters: the tree, how one is read, how it is evaluated, how it is compiled to look-ups."""
