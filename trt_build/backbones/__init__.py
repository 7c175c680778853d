"""Networks trained on ImageNet, and where their weights come from."""
