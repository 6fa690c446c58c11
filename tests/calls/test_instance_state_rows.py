"""Rows of an ORM as arguments: what is not loaded is refused with words that help, and never left out of a key."""

from collections.abc import Iterator
from typing import Any

import pytest

from memocache import Cache, UnstableKeyError
from memocache._calls.keys.canonical import canonical
from memocache._runtime.object_identity import NoIdentity

sqlalchemy = pytest.importorskip("sqlalchemy")
sqlmodel = pytest.importorskip("sqlmodel")
orm: Any = pytest.importorskip("sqlalchemy.orm")


class Base(orm.MappedAsDataclass, orm.DeclarativeBase):  # type: ignore[misc]  # of a module that may be missing
    """Rows that are dataclasses."""


class Item(Base):
    """A row with a column that is not loaded with the rest."""

    __tablename__ = "item"
    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
    name: orm.Mapped[str] = orm.mapped_column(default="")
    text: orm.Mapped[str] = orm.mapped_column(default="", deferred=True)


class Team(sqlmodel.SQLModel, table=True):  # type: ignore[misc,call-arg]  # as above
    """What a hero belongs to."""

    id: int | None = sqlmodel.Field(default=None, primary_key=True)
    heroes: list["Hero"] = sqlmodel.Relationship(back_populates="team")


class Hero(sqlmodel.SQLModel, table=True):  # type: ignore[misc,call-arg]  # as above
    """A row that is a pydantic model."""

    id: int | None = sqlmodel.Field(default=None, primary_key=True)
    name: str
    team_id: int | None = sqlmodel.Field(default=None, foreign_key="team.id")
    team: Team | None = sqlmodel.Relationship(back_populates="heroes")


@pytest.fixture
def session() -> Iterator[Any]:
    """Two rows of each kind, in a session that has just committed."""
    engine = sqlalchemy.create_engine("sqlite://", poolclass=sqlalchemy.StaticPool)
    Base.metadata.create_all(engine)
    sqlmodel.SQLModel.metadata.create_all(engine)
    with orm.Session(engine) as session:
        session.add_all([Item(id=1, name="a"), Item(id=2, name="b"), Team(id=1)])
        session.add_all([Hero(id=1, name="a", team_id=1), Hero(id=2, name="b", team_id=1)])
        session.commit()
        yield session
    engine.dispose()


@pytest.mark.parametrize("kind", [Item, Hero])
@pytest.mark.parametrize("backend", ["memory://", "null://"])
def test_an_expired_row_is_refused(session: Any, kind: Any, backend: str) -> None:
    """The error says which parameter, what is the matter and what to do."""
    rows = [session.get(kind, number) for number in (1, 2)]
    session.commit()
    f = Cache(backend).cached(lambda row: row.name)
    for row in rows:
        with pytest.raises(UnstableKeyError, match=r"parameter 'row' holds a .*not loaded.*refresh\(\)") as refused:
            f(row)
        assert "'a'" not in str(refused.value)


@pytest.mark.parametrize("kind", [Item, Hero])
def test_a_loaded_row_is_known_by_its_columns(session: Any, kind: Any) -> None:
    """Wherever it comes from, and whether or not its session is still there."""
    first, second = (session.get(kind, number) for number in (1, 2))
    for row in (first, second):
        assert row.name
        if kind is Item:
            with pytest.raises(NoIdentity, match="not loaded"):  # its deferred column
                canonical(row)
            assert row.text == ""
    key = canonical(first)
    assert key != canonical(second)
    session.expunge(first)
    assert canonical(first) == key
    first.name = "changed"
    assert canonical(first) != key


def test_a_detached_row_that_was_expired_is_refused(session: Any) -> None:
    """Nothing can load it any more."""
    row = session.get(Hero, 1)
    session.expire(row)
    session.expunge(row)
    with pytest.raises(NoIdentity, match="not loaded"):
        canonical(row)


def test_other_rows_that_were_loaded_take_no_part(session: Any) -> None:
    """A relationship leads in circles; rows are equal without it."""
    row = session.get(Hero, 1)
    key = canonical(row)
    assert len(row.team.heroes) == 2
    assert canonical(row) == key


def test_a_row_of_no_session_is_a_value(session: Any) -> None:
    """What was made and never stored has all its state."""
    assert canonical(Hero(name="a")) == canonical(Hero(name="a")) != canonical(Hero(name="b"))
    assert canonical(Item(id=1)) == canonical(Item(id=1)) != canonical(Item(id=2))
