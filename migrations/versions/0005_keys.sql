-- Device keys, one-time keys, cross-signing, to-device messages and key backup.
SELECT 1;
