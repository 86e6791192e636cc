"""Training: stages that say what trains, the loop that runs them, checkpoints that survive."""
