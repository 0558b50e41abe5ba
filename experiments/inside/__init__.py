"""Looking into a model: attention maps, block diagrams, latent spaces."""
