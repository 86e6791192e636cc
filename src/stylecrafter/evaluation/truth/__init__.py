"""What StyleWorld knows of its own pictures: probes that learned from real renders, and held-out sets."""
