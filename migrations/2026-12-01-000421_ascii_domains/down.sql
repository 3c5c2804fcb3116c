-- Addresses stay as they are: earlier versions accept them.
SELECT TRUE;
