"""What the server says to application services, and asks them."""
