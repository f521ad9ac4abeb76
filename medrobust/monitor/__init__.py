"""Watching a deployed model: a reference, new studies, windows of days, limits and alarms."""
