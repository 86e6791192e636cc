"""What training learns from: captions, crops, your own pictures and clips, and the order in which they come."""
