"""What the server does for end-to-end encryption: it passes on keys and messages it cannot read."""
