import pyarrow as pa

from vrec.core.types import CatalogContent

VIDEOS = pa.table({"video_id": ["a", "b"]})
EMBEDDINGS = pa.table({"entity_id": ["b"]})


def test_a_catalog_s_video_ids_are_those_of_the_tables_that_are_present():
    def ids(content):
        return [column.to_pylist() for column in content.video_id_columns]

    assert ids(CatalogContent()) == []
    assert ids(CatalogContent(videos=VIDEOS)) == [["a", "b"]]
    assert ids(CatalogContent(embeddings=EMBEDDINGS)) == [["b"]]
    assert ids(CatalogContent(VIDEOS, EMBEDDINGS)) == [["a", "b"], ["b"]]
