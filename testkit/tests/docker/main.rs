//! The stock docker CLI over a whole daemon, its spawner and its shims.

mod life;
