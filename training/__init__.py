"""How any model is trained for any objective: state, step, optimizer, mesh, checkpoints, log."""
