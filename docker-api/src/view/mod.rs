//! What the engine knows, as clients read it. Pure.
