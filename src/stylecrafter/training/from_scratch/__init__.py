"""What only a model that is made from nothing needs."""
