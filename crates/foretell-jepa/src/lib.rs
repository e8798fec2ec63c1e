//! What makes a JEPA: masks, targets, latent losses, anti-collapse terms; one file for each system.
