"""What a client is shown: what is new for somebody since a token, and how `/sync` presents it."""
