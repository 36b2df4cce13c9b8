//! Records on disk by durability class
