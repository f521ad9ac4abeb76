"""What people type."""

from .entry import JointReport, main

__all__ = ["JointReport", "main"]
