"""What tests share: real digits without a network, damage to files, gradients on every backend."""
