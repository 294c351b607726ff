"""Bundles: releases of this program that a server runs with nothing but its distribution's Python.

What a bundle and a release consist of: `release.py`. How one is made: `assemble.py`.
"""
