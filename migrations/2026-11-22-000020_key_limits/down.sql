DROP TABLE key_limits;
