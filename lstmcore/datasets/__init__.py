"""Data sets to learn and test with: ``from lstmcore.datasets import mnist``."""

from lstmcore.datasets import mnist

__all__ = ["mnist"]
