-- Wrong codes in a row, counted for all processes: after several, codes are refused unchecked for a while.
ALTER TABLE second_factors
    ADD COLUMN wrong_codes INT NOT NULL DEFAULT 0,
    ADD COLUMN last_wrong_at TIMESTAMPTZ;
