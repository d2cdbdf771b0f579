"""Who has an account here and who is asking: registration, login, devices, tokens, own data."""
