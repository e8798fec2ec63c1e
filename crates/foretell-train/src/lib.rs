//! The loop: schedules, AdamW, EMA clock, checkpoints, resume, health.
