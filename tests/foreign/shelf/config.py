"""Where the shelf stands."""

from pydantic import BaseModel, ConfigDict, Field


class ShelfConfig(BaseModel):
    """Settings of one shelf."""

    model_config = ConfigDict(extra="forbid")

    path: str = Field(min_length=1, description="The SQLite file; created on first use")
    timeout: float = Field(default=30.0, gt=0, description="Seconds to wait for another writer")
