"""Small heads trained on the frozen features of the encoders that `vrec embed` runs."""
