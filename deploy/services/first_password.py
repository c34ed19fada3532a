"""Give a fresh local Neo4j its password, once it answers: `first_password.py URI PASSWORD SECONDS`."""

from __future__ import annotations

import sys
import time

from neo4j import GraphDatabase
from neo4j.exceptions import AuthError, ClientError, DriverError, Neo4jError


def answers(uri: str, password: str) -> bool:
    """Whether `password` opens it; a server that still has its first one gets it now."""
    try:
        with GraphDatabase.driver(uri, auth=("neo4j", password)) as driver:
            driver.verify_connectivity()
            return True
    except (AuthError, ClientError):  # a fresh server wants its password changed before anything else
        with GraphDatabase.driver(uri, auth=("neo4j", "neo4j")) as driver, driver.session(database="system") as session:
            session.run("ALTER CURRENT USER SET PASSWORD FROM 'neo4j' TO $password", password=password).consume()
    return False


def main() -> int:
    uri, password, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
    end = time.monotonic() + seconds
    problem: Exception | None = None
    while time.monotonic() < end:
        try:
            if answers(uri, password):
                return 0
        except (DriverError, Neo4jError, OSError) as error:
            problem = error
            time.sleep(1.0)  # five wrong passwords in five seconds lock the account for a while
    print(f"{uri} does not answer: {problem}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
