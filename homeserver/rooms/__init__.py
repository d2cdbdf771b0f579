"""What happens in rooms. There is one way in: `intake`."""
