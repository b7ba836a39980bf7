"""Decides which experiments show whether the declarations of a chain hold; runs nothing."""
