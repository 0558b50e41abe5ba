"""How any model is trained for any objective: fields, state, step, optimizer, mesh, checkpoints, log, loop."""
