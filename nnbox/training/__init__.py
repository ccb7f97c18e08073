"""Loss, sampling, augmentation, schedule, checkpoints and the training loop."""
