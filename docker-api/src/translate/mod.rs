//! Requests as specs of the engine. Pure: no IO, no clock.
