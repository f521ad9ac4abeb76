"""What is asked of a model, and what an answer is worth: one folder a task, behind `base.Task`."""
