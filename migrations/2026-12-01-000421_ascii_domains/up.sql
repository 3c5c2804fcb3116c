-- Domains of e-mail addresses are stored in ASCII. Earlier addresses in other scripts are converted to the form used
-- now.

-- Encodes one label of a domain in Punycode (RFC 3492 section 6.3), with its prefix.
CREATE FUNCTION pg_temp.ascii_label(label TEXT) RETURNS TEXT LANGUAGE plpgsql AS
$$
DECLARE
    points INT[] := ARRAY(SELECT ascii(c) FROM regexp_split_to_table(label, '') AS c);
    basic TEXT := regexp_replace(label, '[^\u0001-\u007f]', '', 'g');
    encoded TEXT := basic || CASE WHEN basic = '' THEN '' ELSE '-' END;
    digits TEXT := 'abcdefghijklmnopqrstuvwxyz0123456789';
    done INT := char_length(basic);
    is_first BOOLEAN := TRUE;
    n INT := 128;
    delta INT := 0;
    bias INT := 72;
    next INT; point INT; q INT; k INT; t INT;
BEGIN
    IF octet_length(label) = char_length(label) THEN
        RETURN label;
    END IF;
    WHILE done < cardinality(points) LOOP
        SELECT min(p) INTO next FROM unnest(points) AS p WHERE n <= p;
        delta := delta + (next - n) * (done + 1);
        n := next;
        FOREACH point IN ARRAY points LOOP
            IF point < n THEN
                delta := delta + 1;
            ELSIF point = n THEN
                q := delta;
                k := 36;
                LOOP
                    t := least(26, greatest(1, k - bias));
                    EXIT WHEN q < t;
                    encoded := encoded || substr(digits, t + (q - t) % (36 - t) + 1, 1);
                    q := (q - t) / (36 - t);
                    k := k + 36;
                END LOOP;
                encoded := encoded || substr(digits, q + 1, 1);
                delta := CASE WHEN is_first THEN delta / 700 ELSE delta / 2 END;
                delta := delta + delta / (done + 1);
                k := 0;
                WHILE 455 < delta LOOP
                    delta := delta / 35;
                    k := k + 36;
                END LOOP;
                bias := k + 36 * delta / (delta + 38);
                is_first := FALSE;
                delta := 0;
                done := done + 1;
            END IF;
        END LOOP;
        delta := delta + 1;
        n := n + 1;
    END LOOP;
    RETURN 'xn--' || encoded;
END
$$;

CREATE FUNCTION pg_temp.ascii_address(email TEXT) RETURNS TEXT LANGUAGE sql AS
$$
    SELECT split_part(email, '@', 1) || '@' || string_agg(pg_temp.ascii_label(label), '.' ORDER BY place)
    FROM regexp_split_to_table(normalize(lower(split_part(email, '@', 2)), NFKC), '\.') WITH ORDINALITY AS labels (label, place)
$$;

DO $$
DECLARE
    one RECORD;
BEGIN
    FOR one IN SELECT id, pg_temp.ascii_address(email) AS email FROM users
        WHERE octet_length(split_part(email, '@', 2)) <> char_length(split_part(email, '@', 2))
    LOOP
        UPDATE users SET email = one.email WHERE id = one.id AND NOT EXISTS (SELECT FROM users WHERE email = one.email);
    END LOOP;
END
$$;
UPDATE invitations SET email = pg_temp.ascii_address(email)
    WHERE octet_length(split_part(email, '@', 2)) <> char_length(split_part(email, '@', 2));
UPDATE mails SET recipient = pg_temp.ascii_address(recipient)
    WHERE octet_length(split_part(recipient, '@', 2)) <> char_length(split_part(recipient, '@', 2));

DROP FUNCTION pg_temp.ascii_address(TEXT);
DROP FUNCTION pg_temp.ascii_label(TEXT);
