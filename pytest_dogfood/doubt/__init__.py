"""Tests the declarations of a project by running it in other ways: `dogfood doubt`."""
