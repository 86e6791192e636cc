"""What the machine offers: devices, memory, random numbers."""
