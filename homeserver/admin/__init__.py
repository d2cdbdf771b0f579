"""What administrators and their tools call."""
