"""Local images with the contract of AWS's Lambda base images, where those cannot be pulled."""
