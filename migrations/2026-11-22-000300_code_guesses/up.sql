-- Wrong codes in a row, counted where all processes see them: after some, codes are refused unlooked-at for a while.
ALTER TABLE second_factors
    ADD COLUMN wrong_codes INT NOT NULL DEFAULT 0,
    ADD COLUMN last_wrong_at TIMESTAMPTZ;
