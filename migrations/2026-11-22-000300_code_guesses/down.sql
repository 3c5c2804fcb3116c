ALTER TABLE second_factors
    DROP COLUMN wrong_codes,
    DROP COLUMN last_wrong_at;
