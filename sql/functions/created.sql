-- The last call of the install script: tells the launcher when this transaction commits.
SELECT bigbrotr.extension_created();
