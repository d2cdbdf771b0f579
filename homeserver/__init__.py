"""A federated homeserver that speaks Matrix: the house around the law in `federation`."""
