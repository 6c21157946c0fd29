"""What users write: steps, workflows, waits."""
