mod bettor;
mod log;
