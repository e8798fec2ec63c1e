//! What the report shows of images: masks, views, feature maps, neighbours.
