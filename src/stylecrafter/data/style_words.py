"""Words that speak of how a picture is made: data for `captions`, no logic. All lower case."""

from __future__ import annotations


def _words(text: str) -> tuple[str, ...]:
    return tuple(phrase.strip() for phrase in " ".join(text.split()).split(","))


#: What a picture can be called; "a … of" in front of the content. US and UK spelling are both listed.
MEDIA = _words("""
    painting, paintings, drawing, drawings, sketch, watercolor, watercolour, watercolors, watercolours,
    aquarelle, illustration, photo, photos, photograph, photographs, photography, picture, pictures, pic,
    image, images, artwork, mural, portrait, self-portrait, self portrait, engraving, etching, woodcut,
    lithograph, print, linocut, screenprint, screen print, woodblock print, silkscreen, mosaic, collage,
    fresco, tapestry, cartoon, caricature, doodle, render, rendering, 3d render, 3d rendering, cgi,
    polaroid, screenshot, snapshot, poster, postcard, video, footage, gif, animation, timelapse,
    miniature, claymation, embroidery, cross stitch, cross-stitch, graffiti, paper cut, papercut,
    paper-cut, stained glass window, stained glass, manga, comic, comic strip, gouache, pastel, impasto,
    depiction, still life, origami, neon sign, visualization, visualisation, daguerreotype, cyanotype,
    pointillism, aquatint, mezzotint, scribble, clipart, clip art, line art, pixel art, concept art,
    digital art, fan art, fanart, vector art, street art, folk art, fantasy art, pop art, word art, ascii
    art, scratchboard, fine art, wallpaper, oil painting, oil on canvas, linework, manuscript, storyboard,
    stencil, batik, quilt, diorama, blueprint, artist's impression, charcoal, crayon, cave painting,
    sumi-e, ink wash, photomontage, double exposure, tattoo design
""")

#: Media that are also ordinary words: style only with a word of style in front ("a cinematic shot of").
WEAK_MEDIA = _words("""
    art, shot, still, scene, frame, icon, clip, film, movie, view, graphic, design, sticker, logo, page
""")

#: Techniques and materials.
TECHNIQUES = _words("""
    oil, oils, oil paint, oil paints, acrylic, acrylics, acrylic paint, tempera, ink, inks, pen and ink,
    ink and wash, pencil, pencils, colored pencil, colored pencils, coloured pencils, graphite, charcoals,
    chalk, crayons, pastels, oil pastels, oil pastel, gouaches, encaustic, airbrush, spray paint, marker,
    markers, ballpoint pen, watercolor paint, on canvas, on paper, on panel, on wood, on board, on silk,
    on linen, mixed media, brush strokes, brushstrokes, brush stroke, brushstroke, brushwork, palette
    knife, crosshatching, cross-hatching, cross hatching, hatching, stippling, halftone, halftone dots,
    screentone, cel shading, cel-shading, cel shaded, cel-shaded, linear perspective, sfumato,
    chiaroscuro, low poly, low-poly, voxel, voxels, voxel art, pixelated, 8-bit, 16-bit, hand drawn,
    hand-drawn, hand painted, hand-painted, wet on wet, outlines, line drawing, lineart, line work,
    monotype, flat design, flat colors, flat colours, flat color, vector, vector graphics, vector graphic,
    isometric, 3d, 2d, 3d rendered, stop motion, stop-motion, double-exposure, filigree, quilling, felt,
    needle felted, plasticine, clay, paper art, glitch art, stencil art, chiaroscuro lighting, impastos,
    washes, hand-colored
""")

#: Movements, schools, periods and looks.
MOVEMENTS = _words("""
    impressionist, impressionism, impressionistic, post-impressionist, post-impressionism, expressionist,
    expressionism, abstract expressionism, cubist, cubism, surrealist, surrealism, realism, realist,
    hyperrealism, hyperrealistic, hyper-realistic, hyper realistic, hyperrealist, photorealism,
    photorealistic, photo-realistic, photo realistic, ultra realistic, ultra-realistic, realistic,
    semi-realistic, romanticism, baroque, rococo, renaissance, mannerism, neoclassicism, neoclassical,
    gothic art, art nouveau, art deco, arts and crafts, bauhaus, fauvism, fauvist, dada, dadaism,
    futurism, futurist, constructivism, constructivist, suprematism, symbolism, symbolist, minimalism,
    minimalist, minimalistic, pop-art, op art, abstract, abstract art, naive art, outsider art, ukiyo-e,
    ukiyo e, ukiyoe, shin-hanga, pre-raphaelite, pointillist, divisionism, tonalism, academicism, academic
    art, primitivism, orientalism, orientalist, byzantine, medieval, persian, mughal, egyptian, celtic,
    aboriginal, socialist realism, propaganda, film noir, noir, anime, manga-style, chibi, kawaii, disney,
    pixar, studio ghibli, ghibli, dreamworks, comic book, comic-book, graphic novel, storybook, children's
    book, cartoonish, steampunk, cyberpunk, synthwave, vaporwave, retrowave, psychedelic, lowbrow, dark
    fantasy, fantasy, sci-fi, futuristic art, retro, vintage, victorian, edo period, ming dynasty, dutch
    golden age, golden age, hudson river school, rayonism, brutalist art
""")

#: Treatment of light, colour and lens, quality marks, renderers and sites.
TREATMENTS = _words("""
    black and white, black & white, black-and-white, b&w, bw, monochrome, monochromatic, grayscale,
    greyscale, sepia, sepia tone, sepia toned, sepia-toned, duotone, tritone, colorful palette, color
    palette, colour palette, palette, colors, colours, color scheme, hues, tones, toned, tinted, hdr,
    bokeh, film grain, grain, grainy, lens flare, depth of field, shallow depth of field, tilt-shift, tilt
    shift, long exposure, macro, fisheye, fish-eye, anamorphic, dslr, 35mm, 50mm, 85mm, 70mm, 16mm, f/1.4,
    f/1.8, f/2.8, kodachrome, kodak, kodak portra, fujifilm, instax, leica, hasselblad, cinematic,
    cinematography, studio lighting, cinematic lighting, dramatic lighting, volumetric lighting, rim
    lighting, rim light, global illumination, ray tracing, ray traced, raytraced, god rays, lighting,
    octane render, octane, unreal engine, unreal engine 5, unity engine, blender, blender render, cinema
    4d, c4d, v-ray, vray, zbrush, redshift, houdini, artstation, trending on artstation, artstation hq,
    deviantart, trending on deviantart, cgsociety, behance, pixiv, dribbble, trending, featured on
    behance, national geographic, shutterstock, getty images, unsplash, 4k, 8k, 16k, uhd, hd, ultra hd,
    full hd, high resolution, high-resolution, highres, high res, low resolution, masterpiece, best
    quality, high quality, award winning, award-winning, highly detailed, ultra detailed, ultra-detailed,
    extremely detailed, hyper detailed, hyperdetailed, intricate details, intricate detail, intricate,
    sharp focus, soft focus, slow motion, slow-motion, time-lapse, time lapse, animated, stock,
    advertisement, desaturated, oversaturated, overexposed, underexposed
""")

#: Words that go along with words of style, and say nothing of style alone.
COMPANIONS = _words("""
    highly, very, extremely, super, ultra, hyper, detailed, details, detail, sharp, focus, smooth, soft,
    bold, thick, thin, loose, visible, fine, rough, quick, clean, simple, vivid, vibrant, bright, muted,
    dark, pale, warm, cool, cold, earthy, rich, saturated, neon, pastel, dramatic, moody, beautiful, cute,
    old, antique, ancient, classic, classical, traditional, modern, contemporary, early, late, dutch,
    flemish, chinese, japanese, korean, indian, italian, french, german, russian, soviet, american,
    mexican, african, english, victorian, century, 17th, 18th, 19th, 20th, 1920s, 1930s, 1940s, 1950s,
    1960s, 1970s, 1980s, 1990s, lines, line, edges, strokes, dots, texture, textures, shading, shadows,
    contrast, high, low, landscape, fashion, food, wildlife, street, portrait, documentary, wedding,
    macro, nature, architectural, botanical, technical, scientific, editorial, magazine, book, cover,
    travel, movie, film, album, concept, digital, professional, amateur, color, colour, colored, coloured,
    colorful, colourful, stunning, gorgeous, amazing, whimsical, elegant, expressive, intimate, artistic,
    style, styled, stylized, stylised, effect, aesthetic, look, quality, resolution, background blur,
    blurred, blurry, glossy, matte, flat, light, lights, sketchy, delicate, swirling, heavy, art, tone,
    toned, large, small, wash, photo, image, gritty, faded, hand, made, drawn, two, three, limited,
    woodblock
""")

#: Painters, illustrators and photographers whose name alone says style; surnames that are no common words.
ARTISTS = _words("""
    vincent van gogh, van gogh, claude monet, monet, manet, renoir, edgar degas, degas, paul cezanne, paul
    cézanne, cezanne, cézanne, paul gauguin, gauguin, seurat, georges seurat, signac, pissarro, sisley,
    toulouse-lautrec, matisse, henri matisse, pablo picasso, picasso, georges braque, juan gris, salvador
    dali, salvador dalí, dali, magritte, rené magritte, rene magritte, joan miró, joan miro, kandinsky,
    wassily kandinsky, mondrian, piet mondrian, paul klee, klee, gustav klimt, klimt, egon schiele,
    schiele, edvard munch, munch, chagall, marc chagall, modigliani, malevich, kazimir malevich, mucha,
    alphonse mucha, hokusai, katsushika hokusai, hiroshige, utagawa hiroshige, utamaro, kuniyoshi,
    rembrandt, vermeer, johannes vermeer, jan van eyck, van eyck, hieronymus bosch, bosch, pieter bruegel,
    bruegel, pieter bruegel the elder, brueghel, rubens, peter paul rubens, van dyck, frans hals,
    caravaggio, botticelli, raphael, leonardo da vinci, da vinci, michelangelo, titian, tintoretto,
    veronese, canaletto, tiepolo, goya, francisco goya, velázquez, velazquez, el greco, zurbarán, murillo,
    sorolla, joaquín sorolla, joaquin sorolla, albrecht dürer, albrecht durer, dürer, durer, caspar david
    friedrich, turner, j.m.w. turner, jmw turner, constable, john constable, william blake, gainsborough,
    waterhouse, john william waterhouse, rossetti, burne-jones, millais, aivazovsky, ivan aivazovsky,
    repin, ilya repin, shishkin, ivan shishkin, levitan, vrubel, bilibin, ivan bilibin, roerich, winslow
    homer, edward hopper, hopper, norman rockwell, rockwell, john singer sargent, sargent, georgia
    o'keeffe, o'keeffe, grant wood, andrew wyeth, frida kahlo, diego rivera, andy warhol, warhol, roy
    lichtenstein, lichtenstein, keith haring, basquiat, jean-michel basquiat, jackson pollock, pollock,
    mark rothko, rothko, de kooning, banksy, david hockney, hockney, lucian freud, francis bacon, hr
    giger, h.r. giger, giger, beksinski, zdzisław beksiński, zdzislaw beksinski, moebius, jean giraud,
    greg rutkowski, rutkowski, artgerm, wlop, ross tran, loish, craig mullins, frank frazetta, frazetta,
    boris vallejo, thomas kinkade, kinkade, bob ross, hayao miyazaki, miyazaki, makoto shinkai, junji ito,
    akira toriyama, tim burton, wes anderson, beatrix potter, arthur rackham, rackham, edmund dulac,
    gustave doré, gustave dore, ernst haeckel, haeckel, m.c. escher, mc escher, escher, aubrey beardsley,
    quentin blake, ansel adams, henri cartier-bresson, cartier-bresson, annie leibovitz, steve mccurry,
    dorothea lange, stephen shore, diane arbus, robert capa, sebastião salgado, qi baishi, xu beihong,
    zhang daqian, lawren harris, tom thomson, odilon redon, henri rousseau, whistler, hammershøi, vilhelm
    hammershøi, carl larsson, anders zorn, zorn, bouguereau, alma-tadema, vasarely, delacroix, ingres,
    courbet, corot, fragonard, watteau, boucher, chardin, poussin, lorrain
""")

#: Marks of a picture's making in front of "in watercolour", "with thick strokes", "by …".
MAKING = _words("""
    painted, rendered, drawn, sketched, depicted, illustrated, engraved, etched, photographed, shot,
    filmed, captured, done, made, created, portrayed, illustration, presented, shown, coloured, colored,
    inked, animated, taken
""")

#: In front of "in … style" these say how the thing itself was made, not the picture.
OF_THE_THING = _words("""
    dressed, built, decorated, furnished, designed, cooked, fried, written, signed, soaked, covered,
    drenched, clothed, dancing, singing, dance, tattooed, cut, dining, swimming, playing, striped, tiled,
    dipped, wearing, uniform, clad
""")

#: Words that never stand in front of "painting of" as part of its name: after them the picture is a thing in the scene.
NO_MODIFIERS = _words("""
    of, with, in, on, at, by, from, to, for, near, next, beside, behind, above, under, over, below,
    between, into, onto, through, around, against, inside, outside, and, or, but, while, as, is, are, was,
    were, has, have, had, this, that, there, a, an, the, his, her, their, its, he, she, they, it, who,
    which, man, woman, men, women, boy, girl, boys, girls, person, people, child, children, kid, kids,
    artist, student, students, couple, crowd, someone, shows, showing, hangs, takes, holds, sits,
    stands, looks, makes, draws, paints, wall, museum, gallery, room, guard
""")

#: -ing words that can describe a picture ("a stunning drawing of"); all others are things being done.
ING_MODIFIERS = _words("""
    stunning, charming, amazing, striking, interesting, flowing, glowing, haunting, captivating,
    breathtaking, moving, painting, drawing, engraving, line-drawing, winning, award-winning, etching,
    rendering, swirling, breath-taking
""")

#: "by lake como", "by Central Station": places, never painters.
PLACES = _words("""
    lake, river, sea, seaside, station, bridge, street, avenue, road, beach, ocean, night, day,
    candlelight, moonlight, hand, train, car, bus, boat, bike, foot, tower, park, square, castle, mount,
    mountain, window, door, harbor, harbour, bay, creek, house, side, pool, canal, church, gate, hill,
    forest, wall, water, fire, pier, garden, airport, court
""")

#: After "watercolor", "cartoon" … these make a thing of it: a watercolor set, a cartoon channel.
THINGS = _words("""
    set, box, paint, paints, paper, brush, brushes, palette, pencil, pencils, kit, class, classes, studio,
    book, books, exhibition, museum, gallery, network, channel, show, shows, series, convention, fan,
    fans, magazine, costume, cosplay, poster, posters, figurine, figure, figures, movement, school,
    artist, artists, painter, painters, style, painting, paintings, drawing, drawings, print, prints,
    glasses, printer, movie, film, t-shirt, shirt, screen, supplies, store, shop, pad, sketchbook, on, in,
    at, of, by, and, or, with, from, to, is, are, playing, near, next, while, for, as
""")

#: Words of style that can stand right in front of what is shown: a cartoon dog.
ATTRIBUTES = _words("""
    cartoon, anime, manga, watercolor, watercolour, pixel art, pixelated, low poly, low-poly, cel shaded,
    cel-shaded, photorealistic, photo-realistic, hyperrealistic, hyper-realistic, impressionist, cubist,
    surrealist, expressionist, isometric, 3d rendered, 3d-rendered, 3d, hand drawn, hand-drawn,
    claymation, ukiyo-e, chibi, 8-bit, 16-bit, pop art, line art, voxel, stylized, stylised, cartoonish,
    minimalist, black and white animated, animated, sepia-toned
""")

#: Media that show what they are "with": "a painting with a boat". Of others it is a part: "a still life with figs".
PICTURES = _words("""
    painting, paintings, drawing, drawings, sketch, watercolor, watercolour, aquarelle, gouache, illustration,
    photo, photos, photograph, photographs, picture, pictures, pic, image, images, artwork, engraving, etching,
    woodcut, lithograph, linocut, cartoon, collage, doodle, render, rendering, fresco, digital art
""")

#: What a picture itself can be "with", as a thing in the scene.
OF_THE_PICTURE = _words("""
    frame, frames, border, borders, signature, mat, hole, holes, crack, cracks, tear, caption, title, inscription,
    label, watermark, stain, stains, passe-partout
""")

#: Who makes pictures without being named.
MAKERS = _words("""
    artist, artists, painter, painters, illustrator, photographer, master, masters, student, students, child,
    children, kid, kids, daughter, son, pupil, pupils, friend
""")

#: Where what is shown goes on behind a painter's name or a style: "in the style of Picasso | near a river".
TURNS = _words("""
    with, without, near, on, at, under, above, over, below, beside, behind, between, among, amid, against, inside,
    outside, beneath, underneath, across, along, around, through, towards, toward, into, onto, from, while, next to,
    in front of, in a, in an, in the, in his, in her, in its, in their, surrounded by, covered in, covered with,
    filled with, who, that, which, wearing
""")

#: Words in -ing that are things, not something being done.
ING_THINGS = _words("""
    painting, paintings, drawing, engraving, etching, rendering, lettering, morning, evening, spring, king, ring,
    string, wing, thing, something, nothing, everything, building, ceiling, wedding, clothing, sibling, duckling,
    ming, viking, sterling, stained-glass painting, line-drawing
""")

#: A dot behind these ends no sentence.
ABBREVIATIONS = _words("""
    mr, mrs, ms, dr, st, mt, ft, no, nr, vs, ca, jr, sr, prof, rev, fig, vol, ave, rd, gen, capt, sgt, etc, approx
""")
