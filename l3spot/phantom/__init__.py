"""Random parametric human trunks, rendered as CT volumes or as projections."""
