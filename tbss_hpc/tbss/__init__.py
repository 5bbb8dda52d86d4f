"""What we know of FSL TBSS: studies, pairs, proofs, engines and the choice of the target."""
